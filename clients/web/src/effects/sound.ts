// Sounds, synthesised instead of loaded. Browsers allow sound only after the player's first touch
// or key press.
import { settings } from '../settings';
import type { Sound } from './moments';

/** Frequency in Hz, start and length in seconds, and gain. */
type Note = readonly [frequency: number, at: number, length: number, gain: number];

const NOTES: Record<Sound, { wave: OscillatorType; notes: readonly Note[] }> = {
  gain: { wave: 'triangle', notes: [[659, 0, 0.12, 0.2], [880, 0.07, 0.12, 0.2], [1319, 0.14, 0.3, 0.16]] },
  claim: { wave: 'sine', notes: [[523, 0, 0.08, 0.15], [784, 0.05, 0.1, 0.12]] },
  fail: { wave: 'sawtooth', notes: [[196, 0, 0.2, 0.12], [147, 0.12, 0.35, 0.12]] },
  start: { wave: 'sawtooth', notes: [[220, 0, 0.4, 0.08], [330, 0.15, 0.4, 0.08], [440, 0.3, 0.7, 0.1]] },
  join: { wave: 'sine', notes: [[440, 0, 0.1, 0.12], [554, 0.08, 0.16, 0.12]] },
  message: { wave: 'sine', notes: [[988, 0, 0.07, 0.07]] },
  victory: { wave: 'triangle', notes: [[523, 0, 0.25, 0.2], [659, 0.15, 0.25, 0.2], [784, 0.3, 0.25, 0.2], [1047, 0.45, 0.9, 0.22], [1319, 0.45, 0.9, 0.12]] },
  defeat: { wave: 'triangle', notes: [[330, 0, 0.4, 0.16], [262, 0.3, 0.4, 0.16], [196, 0.6, 1, 0.18]] },
  reward: { wave: 'sine', notes: [[784, 0, 0.12, 0.14], [988, 0.09, 0.12, 0.14], [1175, 0.18, 0.12, 0.14], [1568, 0.27, 0.5, 0.12]] },
  tick: { wave: 'square', notes: [[880, 0, 0.03, 0.04]] },
};

/** Shortest interval between two plays of the same sound; sooner ones are skipped. */
const APART_MS = 60;
let context: AudioContext | null = null;
const last = new Map<Sound, number>();

/** Starts the audio context on the player's first touch or key press. */
export function listenForTouch(): void {
  const begin = (): void => {
    context ??= new AudioContext();
    if (context.state !== 'running') void context.resume().catch(() => {});
  };
  // On every touch, because a phone call or another app may have suspended the context.
  addEventListener('pointerup', begin);
  addEventListener('keydown', begin);
}

export function play(sound: Sound): void {
  const now = performance.now();
  if (!context || context.state !== 'running' || !settings.get().sound || document.hidden) return;
  if (now - (last.get(sound) ?? -Infinity) < APART_MS) return;
  last.set(sound, now);
  const { wave, notes } = NOTES[sound];
  for (const [frequency, at, length, loud] of notes) {
    const start = context.currentTime + at;
    const oscillator = context.createOscillator();
    const gain = context.createGain();
    oscillator.type = wave;
    oscillator.frequency.value = frequency;
    gain.gain.setValueAtTime(loud, start);
    gain.gain.exponentialRampToValueAtTime(0.001, start + length);
    oscillator.connect(gain).connect(context.destination);
    oscillator.start(start);
    oscillator.stop(start + length);
  }
}
