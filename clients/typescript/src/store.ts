// A raid as a store of the kind that Zustand, and React's useSyncExternalStore, take.
import type { Raid, RaidView } from './raid.js';

export interface Store<T> {
  getState(): T;
  getInitialState(): T;
  /** Calls `listener` with the new and the former state after each change. */
  subscribe(listener: (state: T, previous: T) => void): () => void;
}

export function storeOf(raid: Raid): Store<RaidView> {
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
