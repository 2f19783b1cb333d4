// Announces the events of others to screen readers: at most three lines a second, so that a busy
// raid can be followed.
import type { RaidEvent } from '@raidhall/client';
import { useEffect, useRef, useState } from 'react';
import { Sentence } from '../parts/sentence';
import { lineOf } from '../play/history';
import { useTitles } from '../play/use-titles';
import { useWords } from '../settings';
import { usePlay, useScene } from './play';

const EVERY_MS = 1_000;
const LINES_MAX = 3;
const NO_EVENTS: readonly RaidEvent[] = [];

export function Announcer() {
  const words = useWords();
  const { raid, me } = usePlay();
  const { shown, names } = useScene();
  const titles = useTitles(NO_EVENTS, shown);
  const [text, setText] = useState('');
  const tell = useRef<(event: RaidEvent) => string | undefined>(() => undefined);
  tell.current = event => lineOf(event, names, titles, words)?.text;
  useEffect(() => {
    let fresh: RaidEvent[] = [];
    const end = raid.onEvent(event => {
      const ending = event.type === 'raid_completed' || event.type === 'raid_failed';
      if (event.by !== me || ending) fresh = [...fresh, event].slice(-LINES_MAX);
    });
    const timer = setInterval(() => {
      if (fresh.length > 0) setText(fresh.flatMap(event => tell.current(event) ?? []).join('. '));
      fresh = [];
    }, EVERY_MS);
    return () => {
      end();
      clearInterval(timer);
    };
  }, [raid, me]);
  return <p className="unseen" role="log" aria-live="polite"><Sentence text={text} /></p>;
}
