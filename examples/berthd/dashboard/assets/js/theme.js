// Dark or light: as the system has it, until somebody chooses.

// setupTheme makes the button switch, and remembers the choice in this browser.
export function setupTheme(button, icon) {
  const root = document.documentElement;
  const remembered = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
  const set = (theme) => { if (theme === "dark" || theme === "light") root.dataset.theme = theme; };
  set(remembered());
  button.append(icon("theme"));
  button.addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    set(dark ? "light" : "dark");
    try { localStorage.setItem("theme", root.dataset.theme); } catch { /* then it holds for this page only */ }
  });
}
