// The dashboard: signs in, loads the fleet, and follows the ledger.
import { get, onSignedOut, request } from "./api.js";
import { activity } from "./activity.js";
import { byID, data, icon, text } from "./dom.js";
import { showClusters } from "./clusters.js";
import { showHosts } from "./hosts.js";
import { showInstances } from "./instances.js";
import { setupLaunch } from "./launch.js";
import { follow, Pace } from "./live.js";
import { learn } from "./me.js";
import { logInByPasskey, passkeys } from "./people/passkeys.js";
import { showPool } from "./pool.js";
import { comeBack, offerProviders } from "./providers.js";
import { showSide } from "./side.js";
import { Store } from "./store.js";
import { setupTheme } from "./theme.js";
import { attempt, once, problem } from "./ui.js";

const refresh = 250; // at most four times a second
const recent = 40; // batches of the past that the activity begins with
const lookEvery = 10_000; // for what no event tells of

function live(state) {
  const words = { live: "live", connecting: "connecting", lost: "signed out" };
  data(byID("live"), "state", state);
  text(byID("live").querySelector("span"), words[state]);
}

// codeOf finds the code in what was pasted: a link or the code alone.
const codeOf = (s) => s.trim().replace(/^.*#code=/, "");

const signIn = (code) => request("POST", "/session", { code });

// logIn signs in by what was typed, which is forgotten.
async function logIn() {
  const [name, password, code] = ["login-name", "login-password", "login-code"].map(byID);
  const typed = { name: name.value, password: password.value, browser: true, ...(code.value.trim() ? { code: code.value.trim() } : {}) };
  password.value = code.value = "";
  await request("POST", "/login", typed);
}

function showSignIn(err) {
  byID("main").hidden = true;
  byID("signin").hidden = false;
  live("lost");
  passkeys().then(({ here }) => { byID("login-passkey").hidden = !here; }, () => {});
  offerProviders(showSignIn);
  byID("signin-error").replaceChildren(...(err ? [problem(err.problem ?? { title: String(err) })] : []));
  byID(byID("login-name").value ? "login-password" : "login-name").focus();
}

// context says which daemon this is, and who is signed in.
function showContext(status, me) {
  const kinds = status.drivers.map((d) => `${d.name} (${d.kind})`).join(", ");
  text(byID("context"), [me.name || me.id, kinds, `ledger ${status.ledger.slice(0, 8)}`, `berthd ${status.version}`].join(" · "));
}

// run shows the fleet and follows it until the session ends.
function run(store, revision) {
  const pace = new Pace(() => store.update(), refresh);
  let loaded = false, early = [];
  const load = async () => {
    await store.load();
    loaded = true;
    early.splice(0).forEach((batch) => activity(batch, store));
    data(document.body, "loaded", Math.round(performance.now()));
  };
  const stop = follow(Math.max(0, revision - recent), {
    state: live,
    hello: () => loaded && pace.ask(),
    reset: () => load(),
    batch(batch) {
      for (const e of batch.events) {
        if (e.kind === "instance.deleted") store.remove("instances", e.data.instance, batch.revision);
        if (e.kind === "host.removed") store.remove("hosts", e.data.host, batch.revision);
      }
      if (!loaded) {
        early = [...early, batch].slice(-recent); // what the ids in it stand for is not known yet
        return;
      }
      activity(batch, store);
      pace.ask();
    },
    lost: () => get("/session").catch(showSignIn),
  });
  const timer = setInterval(() => store.look().catch(() => {}), lookEvery);
  load().catch(() => pace.ask());
  return () => { stop(); clearInterval(timer); };
}

async function begin() {
  setupTheme(byID("theme"), icon);
  const store = new Store();
  showPool(store);
  showHosts(store);
  showInstances(store);
  showClusters(store);
  showSide(store);
  setupLaunch(store);

  let stop, last;
  const start = async () => {
    const status = await get("/status");
    const me = await learn(); // one after the other, or who is signed out is told so twice
    if (last && last !== me.id) { // what the page knows is for somebody else
      location.reload();
      return;
    }
    last = me.id;
    byID("signin").hidden = true;
    byID("main").hidden = false;
    showContext(status, me);
    stop?.();
    stop = run(store, status.revision);
  };
  onSignedOut(() => { stop?.(); stop = undefined; showSignIn(); });
  byID("sign-out").addEventListener("click", (e) => attempt(e.currentTarget, async () => {
    await request("DELETE", "/session");
    stop?.();
    stop = undefined;
    showSignIn();
  }));
  const submits = (id, f) => byID(id).addEventListener("submit", (e) => {
    e.preventDefault();
    once(e.currentTarget.querySelector("button"), async () => {
      await f();
      await start();
    }).catch(showSignIn);
  });
  submits("login-form", logIn);
  byID("login-passkey").addEventListener("click", (e) => once(e.currentTarget, async () => {
    await logInByPasskey();
    await start();
  }).catch(showSignIn));
  submits("signin-form", async () => {
    await signIn(codeOf(byID("signin-code").value));
    byID("signin-code").value = "";
  });

  const code = location.hash.startsWith("#code=") ? location.hash.slice(6) : "";
  if (code) history.replaceState(null, "", "/"); // it is used up now, and nobody's business
  const refused = comeBack();
  try {
    if (code) await signIn(code);
    await start();
  } catch (err) {
    // Whoever is signed in already needs no code.
    if (code && await start().then(() => true, () => false)) return;
    showSignIn(code ? err : refused);
  }
}

begin();
