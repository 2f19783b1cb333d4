// A player's progress on a card of the raid, as far as it is known: their level, frame and streak.
import type { Member } from '@raidhall/client';
import { Suspense } from 'react';
import type { ReactNode } from 'react';
import { Avatar } from '../parts/avatar';
import { optional } from '../parts/optional';
import type { Standing } from '../play/standing';
import { useWords } from '../settings';

const StreakDays = optional(() => import('./streak-days'));

interface ProgressProps {
  standing: Standing | undefined;
}

export const Face = ({ standing, player, name, children }: ProgressProps & Pick<Member, 'player' | 'name'> & { children?: ReactNode }) => (
  <Avatar player={player} name={name} frame={standing?.frame ?? undefined}>{standing && <span className="level-badge">{standing.level}</span>}{children}</Avatar>
);

/** The level for screen readers, to which the avatar is hidden. */
export function LevelInWords({ standing }: ProgressProps) {
  const words = useWords();
  return standing && <span className="unseen">{words.levelIs(standing.level)}</span>;
}

export const StreakOf = ({ standing }: ProgressProps) => !!standing?.streak_days && <Suspense><StreakDays days={standing.streak_days} /></Suspense>;
