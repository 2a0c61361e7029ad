"""chalkgrad: write the forward once; read, prove and run the backward."""
