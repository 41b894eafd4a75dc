/** Lets a few tasks run at once; those that are aborted while they wait never start. */
export class Queue {
  #running = 0;
  #waiting: (() => void)[] = [];

  constructor(readonly most: number) {}

  async run<T>(signal: AbortSignal, task: () => Promise<T>): Promise<T> {
    // Whoever ends hands its place on, so that nobody slips in between.
    if (this.#running < this.most) this.#running++;
    else await this.#turn(signal);
    try {
      signal.throwIfAborted();
      return await task();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#running--;
    }
  }

  #turn(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const start = (): void => {
        signal.removeEventListener("abort", stop);
        resolve();
      };
      const stop = (): void => {
        this.#waiting = this.#waiting.filter((other) => other !== start);
        reject(signal.reason as Error);
      };
      signal.addEventListener("abort", stop, { once: true });
      this.#waiting.push(start);
    });
  }
}
