// Time and randomness behind an interface, so that a test can control them.

export interface Clock {
  /** Returns the time of this machine's clock, in milliseconds. */
  now(): number;
  /** Calls `run` later. Returns a function that cancels the call. */
  after(milliseconds: number, run: () => void): () => void;
  /** Returns a random number from 0 to 1. */
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

/** Returns how many milliseconds to wait before an attempt, where `tries` is 0 for the first: one
 * second doubling to thirty, with full jitter, so that clients which lost their connections
 * together do not all return at the same time. */
export const backoff = (tries: number, random: number): number => random * Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(tries, 10));
