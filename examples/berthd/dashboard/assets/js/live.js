// The stream of events, and the pace at which the page follows it.

// Pace calls f soon after it was asked to, never twice at once and at most once per gap.
export class Pace {
  #f; #gap; #timer = 0; #busy = false; #again = false; #last = 0;

  constructor(f, gap) {
    this.#f = f;
    this.#gap = gap;
  }

  ask() {
    if (this.#busy) this.#again = true;
    else if (!this.#timer) this.#timer = setTimeout(() => this.#run(), Math.max(0, this.#last + this.#gap - performance.now()));
  }

  async #run() {
    this.#timer = 0;
    this.#busy = true;
    this.#last = performance.now();
    try {
      await this.#f();
    } catch {
      this.#again = true; // the next time may be better
    }
    this.#busy = false;
    if (this.#again) {
      this.#again = false;
      this.ask();
    }
  }
}

// follow opens the stream after a revision. The browser reconnects by itself and asks for what it missed; when it gives up,
// which it does when it is refused, lost is called.
export function follow(after, { hello, batch, reset, state, lost }) {
  const stream = new EventSource("/api/v1/events?after=" + after);
  stream.addEventListener("hello", (e) => {
    state("live");
    hello(JSON.parse(e.data).revision);
  });
  stream.addEventListener("batch", (e) => batch(JSON.parse(e.data)));
  stream.addEventListener("reset", () => reset());
  stream.addEventListener("error", () => {
    state(stream.readyState === EventSource.CLOSED ? "lost" : "connecting");
    if (stream.readyState === EventSource.CLOSED) lost();
  });
  return () => stream.close();
}
