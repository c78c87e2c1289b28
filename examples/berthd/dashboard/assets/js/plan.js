// The page of plans: what would be, moves that gain something, and how many hosts a demand takes. Everything is asked of the
// API, as the user who is signed in.
import { get, onSignedOut } from "./api.js";
import { byID, data, h, icon, text } from "./dom.js";
import { away, list } from "./page.js";
import { setupTheme } from "./theme.js";
import { problem } from "./ui.js";
import { setupCapacity } from "./plan/capacity.js";
import { setupAgain } from "./plan/again.js";
import { setupMoves } from "./plan/moves.js";
import { setupWhatIf } from "./plan/whatif.js";

// load reads what questions are made of.
async function load() {
  const [status, pool, hosts, flavors, images, projects] = await Promise.all([get("/status"), get("/pool"), list("/hosts"), list("/flavors"), list("/images"), list("/projects")]);
  flavors.sort((a, b) => (a.resources.cpu ?? 0) - (b.resources.cpu ?? 0) || (a.resources.memory ?? 0) - (b.resources.memory ?? 0) || (a.name < b.name ? -1 : 1));
  return { status, pool, hosts, flavors, images: images.filter((i) => i.usable), projects };
}

async function begin() {
  setupTheme(byID("theme"), icon);
  let out = false;
  onSignedOut(() => {
    out = true;
    away("You are not signed in", h("p", {}, "Sign in on the dashboard, and come back."));
  });
  try {
    const fleet = await load();
    text(byID("context"), `Plan · ledger ${fleet.status.ledger.slice(0, 8)} · berthd ${fleet.status.version}`);
    setupWhatIf(fleet);
    setupCapacity(fleet);
    setupMoves(fleet);
    setupAgain(fleet);
    byID("main").hidden = false;
    data(document.body, "loaded", Math.round(performance.now()));
  } catch (err) {
    if (!out) away("The plans cannot be shown", problem(err.problem ?? { title: String(err) }));
  }
}

begin();
