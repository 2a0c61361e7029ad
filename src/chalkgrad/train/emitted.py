"""Programs as functions of named values: the only door between training and emitted code."""
