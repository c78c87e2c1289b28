// The page of plans: what would be, moves that gain something, and how many hosts a demand takes. Everything is asked of the
// API, as the user who is signed in.
import { get } from "./api.js";
import { list, openPage } from "./page.js";
import { setupCapacity } from "./plan/capacity.js";
import { setupAgain } from "./plan/again.js";
import { setupMoves } from "./plan/moves.js";
import { setupWhatIf } from "./plan/whatif.js";

// load reads what questions are made of.
async function load() {
  const [pool, hosts, flavors, images, projects] = await Promise.all([get("/pool"), list("/hosts"), list("/flavors"), list("/images"), list("/projects")]);
  flavors.sort((a, b) => (a.resources.cpu ?? 0) - (b.resources.cpu ?? 0) || (a.resources.memory ?? 0) - (b.resources.memory ?? 0) || (a.name < b.name ? -1 : 1));
  return { pool, hosts, flavors, images: images.filter((i) => i.usable), projects };
}

openPage("The plans cannot be shown", async ({ status }) => {
  const fleet = { status, ...(await load()) };
  setupWhatIf(fleet);
  setupCapacity(fleet);
  setupMoves(fleet);
  setupAgain(fleet);
});
