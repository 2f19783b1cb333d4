import type { PlayerId } from '@raidhall/client';
import type { ReactNode } from 'react';

/** A player's initial on the colour of their id. The name stands beside it or is read instead. */
export function Avatar({ player, name, children }: { player: PlayerId; name: string; children?: ReactNode }) {
  return <span className={`avatar hue-${player % 8}`} aria-hidden="true">{firstCharacter(name)}{children}</span>;
}

/** Returns the first user-perceived character in upper case; a flag or a family emoji is one. */
export function firstCharacter(text: string): string {
  const first = 'Segmenter' in Intl ? new Intl.Segmenter().segment(text)[Symbol.iterator]().next().value?.segment : [...text][0];
  return (first ?? '').toUpperCase();
}
