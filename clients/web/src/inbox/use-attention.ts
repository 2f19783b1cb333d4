import { useSyncExternalStore } from 'react';

const hasAttention = (): boolean => document.visibilityState === 'visible' && document.hasFocus();

function subscribe(listener: () => void): () => void {
  const ends = ([[window, 'focus'], [window, 'blur'], [document, 'visibilitychange']] as const).map(([target, type]) => {
    target.addEventListener(type, listener);
    return () => target.removeEventListener(type, listener);
  });
  return () => ends.forEach(end => end());
}

/** Returns whether the player looks at the page: it is visible and has the focus. */
export const useAttention = (): boolean => useSyncExternalStore(subscribe, hasAttention);
