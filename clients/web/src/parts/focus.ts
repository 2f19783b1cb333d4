/** At the next frame, focuses the element if a removed button has left the focus on the body. */
export function focusSoon(selector: string): void {
  requestAnimationFrame(() => {
    if (document.activeElement !== document.body) return;
    document.querySelector<HTMLElement>(selector)?.focus({ preventScroll: true });
  });
}
