/** Tells each of them. One that throws stops neither the others nor the client: its error goes to whoever hears of uncaught ones. */
export function tellAll<T extends unknown[]>(listeners: Iterable<(...told: T) => void>, ...told: T): void {
  for (const listener of listeners) {
    try {
      listener(...told);
    } catch (error) {
      void Promise.reject(error);
    }
  }
}
