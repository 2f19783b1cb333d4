import type { PlayerId } from '@raidhall/client';
import type { ReactNode } from 'react';

/** The frames that have a look of their own; others have a common one. */
const FRAMES: Partial<Record<string, string>> = { frame_bronze: 'bronze', frame_silver: 'silver', frame_gold: 'gold' };

/**
 * A player's initial on the colour of their id, in the frame that they wear. The name stands beside it
 * or is read instead.
 */
export function Avatar({ player, name, frame, children }: { player: PlayerId; name: string; frame?: string; children?: ReactNode }) {
  const framed = frame === undefined ? '' : ` framed ${FRAMES[frame] ?? ''}`;
  return <span className={`avatar hue-${player % 8}${framed}`} aria-hidden="true">{firstCharacter(name)}{children}</span>;
}

/** Returns the first user-perceived character in upper case; a flag or a family emoji is one. */
export function firstCharacter(text: string): string {
  const first = 'Segmenter' in Intl ? new Intl.Segmenter().segment(text)[Symbol.iterator]().next().value?.segment : [...text][0];
  return (first ?? '').toUpperCase();
}
