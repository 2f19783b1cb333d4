// Chat and activity feed of a raid.
import { LIMITS } from '@raidhall/client';
import type { ChatMessage, RaidState } from '@raidhall/client';
import { memo, useEffect, useLayoutEffect, useRef, useState } from 'react';
import type { RefObject } from 'react';
import { keepWhileSignedIn } from '../account';
import { forget, load } from '../kept-raids';
import { visible } from '../media';
import { complain } from '../notices';
import { Sentence } from '../parts/sentence';
import { TextInput } from '../parts/text-input';
import { lineOf, namesIn, stepsOf } from '../play/history';
import type { Names } from '../play/history';
import { timeOfDay } from '../play/time';
import { useHistory } from '../play/use-history';
import { useTitles } from '../play/use-titles';
import { useSettings, useWords } from '../settings';
import { useValue } from '../value';
import { Muted, useMutedUntil } from './muted';
import { usePlay, useScene } from './play';

/** Chat stays open for this long after the raid's end; the server enforces it. */
const SAY_AFTER_END_MS = 3_600_000;

const isChatClosed = ({ ended_at }: RaidState, now: number): boolean => ended_at !== null && now > ended_at + SAY_AFTER_END_MS;

export function Talk() {
  const words = useWords();
  const { names } = useScene();
  const [tab, setTab] = useState<'activity' | 'chat'>('chat');
  return (
    <div className="panel talk">
      <div className="segments" role="group" aria-label={words.view.talk}>
        {(['chat', 'activity'] as const).map(name => (
          <button key={name} type="button" aria-pressed={tab === name} onClick={() => setTab(name)}>{words[name]}</button>
        ))}
      </div>
      {tab === 'chat' ? <Chat names={names} /> : <Happened names={names} />}
      <Muted><Say /></Muted>
    </div>
  );
}

function Happened({ names }: { names: Names }) {
  const words = useWords();
  const { raid, account } = usePlay();
  const history = useHistory(raid, account.rest);
  const all = new Map([...names, ...namesIn(history, null)]);
  const { shown } = useScene();
  const titles = useTitles(history, shown);
  const lines = stepsOf(history).map(step => step[0] && lineOf(step[0], all, titles, words, step.length > 1)).filter(line => line && !line.chat).reverse();
  return (
    <ol className="feed" tabIndex={0} aria-label={words.activity}>
      {lines.map(line => line && <li key={line.seq} className={line.tone}><Time at={line.at} /><span><Sentence text={line.text} /></span></li>)}
    </ol>
  );
}

function Chat({ names }: { names: Names }) {
  const words = useWords();
  const { me, account, see } = usePlay();
  const { shown } = useScene();
  const closed = isChatClosed(shown, account.client.now());
  const list = useRef<HTMLOListElement>(null);
  const atEnd = useRef(true);
  const { messages, unsaid } = shown;
  const last = unsaid.at(-1)?.seq ?? messages.at(-1)?.seq;
  useLayoutEffect(() => {
    // Scrolls to a new message only if the list was at its end, so that reading older messages is
    // not disturbed.
    if (list.current && atEnd.current) list.current.scrollTop = list.current.scrollHeight;
  }, [last]);
  const newest = messages.at(-1)?.seq;
  const onScreen = useOnScreen(list);
  const seeNewest = (): void => {
    if (newest !== undefined && onScreen && atEnd.current) see(newest);
  };
  useEffect(seeNewest, [newest, onScreen, see]);
  const message = (said: ChatMessage) => <Said key={said.seq} said={said} own={said.by === me} name={names.get(said.by) ?? words.someone} />;
  return (
    <ol className="chat" ref={list} tabIndex={0} aria-label={words.chat} onScroll={({ currentTarget: { scrollTop, scrollHeight, clientHeight } }) => {
      atEnd.current = scrollHeight - scrollTop - clientHeight < 40;
      seeNewest();
    }}>
      {messages.length + unsaid.length === 0 && !closed && <NoMessages />}
      {messages.map(message)}
      {unsaid.map(message)}
    </ol>
  );
}

function NoMessages() {
  const words = useWords();
  const { readOnly } = useScene();
  const canSay = useMutedUntil() === null && !readOnly;
  return <li className="dim">{words.noMessages(canSay)}</li>;
}

/** Returns whether a part of the element is on the player's screen. */
function useOnScreen(element: RefObject<HTMLElement | null>): boolean {
  const [intersects, setIntersects] = useState(false);
  useEffect(() => {
    const observer = new IntersectionObserver(entries => setIntersects(entries.at(-1)?.isIntersecting ?? false));
    if (element.current) observer.observe(element.current);
    return () => observer.disconnect();
  }, [element]);
  return useValue(visible) && intersects;
}

const Said = memo(function Said({ said: { seq, text, at }, own, name }: { said: ChatMessage; own: boolean; name: string }) {
  const words = useWords();
  return (
    <li className={`${own ? 'own' : ''}${seq < 0 ? ' unsure' : ''}`}>
      <b><bdi>{name}</bdi></b> <bdi>{text}</bdi> {seq < 0 ? <small>{words.sending}</small> : <Time at={at} />}
    </li>
  );
});

const Time = memo(function Time({ at }: { at: number }) {
  const { language } = useSettings();
  return <time dateTime={new Date(at).toISOString()}>{timeOfDay(at, language)}</time>;
});

function Say() {
  const words = useWords();
  const { raid, account, me } = usePlay();
  const { shown } = useScene();
  const input = useRef<HTMLInputElement>(null);
  const [draft] = useState(() => load('draft', me, raid.id)?.value);
  const setText = (text: string): void => {
    if (input.current) input.current.value = text;
    if (text) keepWhileSignedIn('draft', me, raid.id, text);
    else forget('draft', me, raid.id);
  };
  if (isChatClosed(shown, account.client.now())) return <p className="dim">{words.chatOver}</p>;
  return (
    <form className="row say" onInput={() => setText(input.current?.value ?? '')} onSubmit={event => {
      event.preventDefault();
      const text = input.current?.value.trim();
      if (!text || !input.current) return;
      setText('');
      raid.do({ type: 'say', text }).catch(error => {
        complain(error);
        if (input.current && !input.current.value) setText(text);
      });
    }}>
      <TextInput ref={input} className="grow" name="text" defaultValue={draft} aria-label={words.say} placeholder={words.say} chars={LIMITS.chat_chars} autoComplete="off" enterKeyHint="send" />
      <button className="primary" aria-label={words.send}>➤</button>
    </form>
  );
}
