/** Calls each listener. If one throws, the others and the client go on, and its error is reported
 * as uncaught. */
export function notifyAll<T extends unknown[]>(listeners: Iterable<(...args: T) => void>, ...args: T): void {
  for (const listener of listeners) {
    try {
      listener(...args);
    } catch (error) {
      void Promise.reject(error);
    }
  }
}
