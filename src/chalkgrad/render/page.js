"use strict";
(() => {
  const root = document.documentElement;

  // Light and dark: the system's choice until the reader makes one.
  const store = {
    get() { try { return localStorage.getItem("theme"); } catch { return null; } },
    set(theme) { try { localStorage.setItem("theme", theme); } catch { /* a file may have no storage */ } },
  };
  const button = document.querySelector(".theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  const label = () => { button.textContent = isDark() ? "Light" : "Dark"; };
  const kept = store.get();
  if (kept === "dark" || kept === "light") root.dataset.theme = kept;
  if (button) {
    button.hidden = false;
    label();
    system.addEventListener("change", label);
    button.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      store.set(root.dataset.theme);
      label();
    });
  }

  for (const copy of document.querySelectorAll(".copy")) {
    copy.hidden = false;
    copy.addEventListener("click", async () => {
      const code = copy.closest("details").querySelector("code");
      let copied = true;
      try {
        await navigator.clipboard.writeText(code.textContent);
      } catch {
        // A page opened from a file may not use the clipboard; the old way still works there.
        const range = document.createRange();
        range.selectNodeContents(code);
        getSelection().removeAllRanges();
        getSelection().addRange(range);
        copied = document.execCommand("copy");
      }
      copy.textContent = copied ? "Copied" : "Press Ctrl+C";
      setTimeout(() => { copy.textContent = "Copy"; }, 1800);
    });
  }

  // The shape beside the symbol instead of at the foot of the window.
  const place = (event) => {
    const symbol = event.target.closest?.(".t");
    if (!symbol) return;
    const box = symbol.getBoundingClientRect();
    const left = Math.max(8, Math.min(box.left, innerWidth - 300));
    const above = box.top > 48;
    document.body.style.setProperty("--tip-x", `${left}px`);
    document.body.style.setProperty("--tip-y", above ? "auto" : `${box.bottom + 6}px`);
    document.body.style.setProperty("--tip-b", above ? `${innerHeight - box.top + 6}px` : "auto");
  };
  document.addEventListener("pointerover", place);
  document.addEventListener("focusin", place);
})();
