// A raid as a store that is compatible with Zustand and React's useSyncExternalStore.
import type { Raid, WatchedRaid } from './raid.js';

export interface Store<T> {
  getState(): T;
  getInitialState(): T;
  /** Calls `listener` with the new and the previous state after each change. Returns an unsubscribe
   * function. */
  subscribe(listener: (state: T, previous: T) => void): () => void;
}

/** Returns a Zustand-compatible store of a raid's view. */
export function storeOf(raid: Raid): Store<WatchedRaid> {
  const initial = raid.getView();
  return {
    getState: raid.getView,
    getInitialState: () => initial,
    subscribe(listener) {
      let previous = raid.getView();
      return raid.subscribe(() => {
        const before = previous;
        previous = raid.getView();
        listener(previous, before);
      });
    },
  };
}
