// Motion effects: particle bursts, a rising "+40 XP", a shaking screen. With reduced motion, only
// the text appears, in place.
import { still } from '../media';
import type { Shake } from './moments';

/** Most elements at once: more could not be read, and a slow phone could not draw them. */
const RISING_MAX = 6;
const RISE_MS = 1_200;
const SHAKES: Record<Shake, number> = { light: 3, medium: 7, heavy: 14 };
const COLOURS = ['#ffc857', '#ff8a3d', '#f0532d', '#6cc8ff', '#5fd38d'];

/** Returns the centre of an element, or null if it is missing or not on screen. */
function middle(element: Element | null): { x: number; y: number } | null {
  if (!element) return null;
  const { left, top, width, height } = element.getBoundingClientRect();
  if (width === 0 || top + height < 0 || top > innerHeight) return null;
  return { x: left + width / 2, y: top + height / 2 };
}

/**
 * Shows text that rises in a burst of sparks from the first element that is on screen, or else from
 * the upper middle.
 */
export function rise(text: string, from: readonly (Element | null)[]): void {
  const layer = document.getElementById('effects');
  if (!layer || document.hidden || layer.childElementCount >= RISING_MAX) return;
  const { x, y } = from.map(middle).find(found => found !== null) ?? { x: innerWidth / 2, y: innerHeight / 3 };
  const place = `translate(${x}px, ${y}px)`;
  const centred = `${place} translate(-50%, -50%)`;
  if (still.get()) {
    show(layer, 'rising', text, [{ transform: centred, opacity: 1 }, { transform: centred, opacity: 1, offset: 0.8 }, { transform: centred, opacity: 0 }]);
    return;
  }
  show(layer, 'sparks', '', [{ transform: `${place} scale(0.1)`, opacity: 1 }, { transform: `${place} scale(0.9)`, opacity: 1, offset: 0.25 }, { transform: `${place} scale(1.2) translateY(8px)`, opacity: 0 }]);
  show(layer, 'rising', text, [
    { transform: `${centred} scale(0.6)`, opacity: 0 },
    { transform: `${centred} translateY(-14px) scale(1.25)`, opacity: 1, offset: 0.15 },
    { transform: `${centred} translateY(-30px)`, opacity: 1, offset: 0.7 },
    { transform: `${centred} translateY(-70px)`, opacity: 0 },
  ]);
}

/**
 * Animates transform and opacity only: the compositor runs them, so a busy main thread does not
 * make them stutter.
 */
function show(layer: HTMLElement, kind: string, text: string, frames: Keyframe[]): void {
  const element = document.createElement('span');
  element.className = kind;
  element.textContent = text;
  layer.append(element);
  element.animate(frames, { duration: RISE_MS, easing: 'ease-out' }).finished.finally(() => element.remove());
}

/** Fires confetti from both sides, three times. */
export function celebrate(): void {
  for (let turn = 0; turn < 3; turn++) {
    setTimeout(() => {
      const shot = { particleCount: 50, spread: 65, startVelocity: 50, colors: COLOURS };
      void confetti({ ...shot, angle: 60, origin: { x: 0, y: 0.8 } });
      void confetti({ ...shot, angle: 120, origin: { x: 1, y: 0.8 } });
    }, turn * 700);
  }
}

type Fire = ReturnType<typeof import('canvas-confetti').create>;
let loading: Promise<Fire> | null = null;

async function confetti(options: Parameters<Fire>[0]): Promise<void> {
  if (still.get() || document.hidden) return;
  loading ??= load();
  try {
    await (await loading)(options);
  } catch {
    loading = null; // the script is gone after a new release: no confetti
  }
}

/**
 * Loads the confetti library at its first use. It draws on the page's own canvas without a worker,
 * which the content security policy would refuse.
 */
async function load(): Promise<Fire> {
  const { create } = (await import('canvas-confetti')).default;
  const canvas = document.createElement('canvas');
  canvas.className = 'particles';
  document.getElementById('effects')?.before(canvas);
  canvas.setAttribute('aria-hidden', 'true');
  return create(canvas, { resize: true, useWorker: false });
}

export function shake(element: Element | null, how: Shake): void {
  if (!element || still.get()) return;
  const far = SHAKES[how];
  const steps = [0, -1, 0.8, -0.6, 0.4, -0.2, 0].map(part => ({ transform: `translateX(${part * far}px) rotate(${part * far * 0.04}deg)` }));
  element.animate(steps, { duration: 220 + far * 20, easing: 'ease-in-out' });
}
