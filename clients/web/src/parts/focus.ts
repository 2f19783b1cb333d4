/** Where a keyboard goes on when what was pressed is gone: once the page is drawn, unless the player has gone elsewhere. */
export function focusSoon(selector: string): void {
  requestAnimationFrame(() => {
    if (document.activeElement !== document.body) return;
    document.querySelector<HTMLElement>(selector)?.focus({ preventScroll: true });
  });
}
