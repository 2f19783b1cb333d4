// Time and chance, as the rest of the client needs them: so that a test can have them its way.

export interface Clock {
  /** Milliseconds, of this machine. */
  now(): number;
  /** Runs something later; what it gives cancels it. */
  after(milliseconds: number, run: () => void): () => void;
  /** From 0 to 1. */
  random(): number;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  after(milliseconds, run) {
    const timer = setTimeout(run, milliseconds);
    return () => clearTimeout(timer);
  },
  random: () => Math.random(),
};

const FIRST_MS = 1_000;
const LONGEST_MS = 30_000;

/** How long to wait before a try, the first being 0: one second doubling to thirty, with full jitter, so that those who lost
 * their connections together do not come back together. */
export const backoff = (tries: number, random: number): number => random * Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(tries, 10));
