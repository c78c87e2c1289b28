// Requests to the API, in the name of the signed-in user.

const base = "/api/v1";

// Refused is the error of a request that was answered with a problem, or not answered at all.
class Refused extends Error {
  constructor(problem) {
    super(problem.detail || problem.title);
    this.problem = problem;
  }
}

// signedOut is told when the session has ended.
let signedOut = () => {};
export const onSignedOut = (f) => { signedOut = f; };

// seen are the headers of a request that changes only what an answer has shown.
const tags = new WeakMap();
export const seen = (answer) => (tags.has(answer) ? { "If-Match": tags.get(answer) } : {});

// request sends a request and returns the answer's body; undefined when there is none. A signal calls it off.
export async function request(method, path, body, headers = {}, signal = undefined) {
  const init = { method, signal, headers: { Accept: "application/json", ...headers }, credentials: "same-origin", redirect: "error" };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers["Content-Type"] = "application/json";
  }
  let res;
  try {
    res = await fetch(base + path, init);
  } catch {
    throw new Refused({ title: "berthd does not answer", detail: "The daemon cannot be reached. What you asked for may or may not have been done." });
  }
  if (res.status === 204 || res.status === 304) return undefined;
  const kind = res.headers.get("Content-Type") ?? "";
  if (res.ok) {
    if (!kind.includes("json")) return res.text();
    const answer = await res.json();
    if (answer !== null && typeof answer === "object" && res.headers.has("ETag")) tags.set(answer, res.headers.get("ETag"));
    return answer;
  }
  const problem = kind.includes("json") ? await res.json().catch(() => ({})) : {};
  if (res.status === 401 && path !== "/session" && path !== "/login") signedOut();
  throw new Refused({ title: `${res.status} ${res.statusText}`, ...problem });
}

export const get = (path) => request("GET", path);

// all yields every page of a list and returns the revision that the first one showed.
export async function all(path, each) {
  const join = path.includes("?") ? "&" : "?";
  let cursor = "", revision;
  do {
    const page = await get(`${path}${join}limit=1000${cursor && "&cursor=" + encodeURIComponent(cursor)}`);
    revision ??= page.revision;
    page.items.forEach(each);
    cursor = page.next;
  } while (cursor);
  return revision;
}

// hostPath is the path of a host by its id.
export function hostPath(id) {
  const slash = id.indexOf("/");
  return `/hosts/${encodeURIComponent(id.slice(0, slash))}/${encodeURIComponent(id.slice(slash + 1))}`;
}

// key makes a key for a command that must not be done twice.
export const key = () => crypto.randomUUID?.() ?? Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
