// Keeps the standings of a raid's members up to date: the player's own from their stream, those of
// others from their profiles. It is loaded with the first raid that is opened, and renders nothing.
import type { RaidEvent } from '@raidhall/client';
import { useConnection, useMe } from '@raidhall/client/react';
import { useEffect, useMemo, useState } from 'react';
import { visible } from '../media';
import { standingIn } from '../play/standing';
import type { Standings } from '../play/standing';
import { StandingReader } from '../play/standings';
import { useNow } from '../play/use-raid';
import { useValue } from '../value';
import { usePlay, useScene } from './play';

/** The events that bring XP, and so levels and streaks. */
const EARNING = new Set<RaidEvent['type']>(['task_completed', 'contributed']);

export default function StandingsOfMembers({ onChange }: { onChange: (standings: Standings) => void }): null {
  const { account: { client, rest }, raid, me } = usePlay();
  const { members, status: raidStatus } = useScene().shown;
  const isOver = raidStatus === 'completed' || raidStatus === 'failed';
  const [reader] = useState(() => new StandingReader(rest.profiles));
  const { status } = useConnection(client);
  const isActive = useValue(visible) && status.state === 'online';
  useEffect(() => reader.setMembers(members.map(({ player }) => player).filter(player => player !== me)), [reader, members, me]);
  useEffect(() => {
    reader.setActive(isActive);
    return () => reader.setActive(false);
  }, [reader, isActive]);
  useEffect(() => {
    if (isOver) reader.end();
  }, [reader, isOver]);
  useEffect(() => raid.onEvent(({ type }) => EARNING.has(type) && reader.refresh()), [reader, raid]);

  const others = useValue(reader.shown);
  const { state } = useMe(client);
  const now = useNow(client, 10_000);
  const { level, frame, streak_days } = (state && standingIn(state, now)) ?? {};
  const all = useMemo(() => {
    const isKnown = level !== undefined && frame !== undefined && streak_days !== undefined;
    return isKnown ? new Map(others).set(me, { level, frame, streak_days }) : others;
  }, [others, me, level, frame, streak_days]);
  useEffect(() => onChange(all), [onChange, all]);
  return null;
}
