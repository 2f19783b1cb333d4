// The raid's members: presence, energy, contributions and emotes.
import type { Command, Member } from '@raidhall/client';
import { memo, useEffect, useState } from 'react';
import { complain, notify } from '../notices';
import { firstCharacter } from '../parts/avatar';
import { Bar } from '../parts/bar';
import { Confirm, Dialog } from '../parts/dialog';
import type { Question as QuestionTexts } from '../parts/dialog';
import { quote } from '../parts/sentence';
import { energyAt, mutedUntil } from '../play/predict';
import type { Standing } from '../play/standing';
import { timeOfDay } from '../play/time';
import { useNow } from '../play/use-raid';
import { useSettings, useWords } from '../settings';
import { Muted } from './muted';
import { give, usePlay, useScene } from './play';
import { Face, LevelInWords, StreakOf } from './progress';

const EMOTES = ['🔥', '👏', '💪', '😂', '❤️', '🎉'];
const SHOWN_MS = 2_500;

/** What the leader is about to do to a member. */
interface Asked {
  readonly what: 'kick' | 'promote' | 'mute' | 'unmute';
  readonly member: Member;
}

export function Party() {
  const words = useWords();
  const { raid, me, account } = usePlay();
  const { shown, online, standings } = useScene();
  const [emotes, setEmotes] = useState<ReadonlyMap<number, { emoji: string; at: number }>>(new Map());
  const now = useNow(account.client, 5_000);
  const [asked, setAsked] = useState<Asked | null>(null);
  const over = shown.status === 'completed' || shown.status === 'failed';
  const show = (player: number, emoji: string): void => {
    const at = Date.now();
    setEmotes(old => new Map(old).set(player, { emoji, at }));
    setTimeout(() => setEmotes(old => {
      if (old.get(player)?.at !== at) return old;
      const left = new Map(old);
      left.delete(player);
      return left;
    }), SHOWN_MS);
  };
  useEffect(() => raid.onSignal(({ from, kind, data }) => {
    const emoji: unknown = (data as { emoji?: unknown } | null)?.emoji;
    if (kind === 'emote' && typeof emoji === 'string') show(from, firstCharacter(emoji));
  }), [raid]);
  useEffect(() => raid.onSignalRefused(complain), [raid]);
  const send = (emoji: string): void => {
    if (raid.signal('emote', { emoji })) show(me, emoji);
    else notify(words.emoteLost);
  };
  return (
    <div className="panel party">
      <h2>{words.party} <span className="count">{shown.members.length}/{shown.max_members}</span></h2>
      <ul>
        {shown.members.map(member => (
          <MemberRow key={member.player} member={member} standing={standings.get(member.player)} me={member.player === me} leads={shown.leader === me && !over} emote={emotes.get(member.player) ?? null}
            presence={online === null ? 'unknown' : online.has(member.player) ? 'online' : 'offline'} energy={energyAt(member, now)} muted={mutedUntil(member, now)} onAsk={setAsked} />
        ))}
      </ul>
      <Muted>
        <div className="emotes" role="group" aria-label={words.emotes}>
          {EMOTES.map(emoji => (
            <button key={emoji} type="button" className="quiet" aria-label={words.emote(emoji)} onClick={() => send(emoji)}>{emoji}</button>
          ))}
        </div>
      </Muted>
      {asked && <Question asked={asked} onClose={() => setAsked(null)} />}
    </div>
  );
}

/** Asks the leader whether, or for a mute how long, to do it. */
function Question({ asked: { what, member: { player, name } }, onClose }: { asked: Asked; onClose: () => void }) {
  const words = useWords();
  const { raid, account } = usePlay();
  const ask = (question: (name: string) => QuestionTexts, command: Command) => <Confirm question={question(quote(name))} onYes={() => give(raid, command)} onClose={onClose} />;
  switch (what) {
    case 'kick':
      return ask(words.kickConfirm, { type: 'kick', player });
    case 'promote':
      return ask(words.promoteConfirm, { type: 'promote', player });
    case 'unmute':
      return ask(words.unmuteConfirm, { type: 'mute', player, until: null });
    case 'mute':
      return (
        <Dialog title={words.muteTitle(quote(name))} text={words.muteText} onClose={onClose}>
          <div className="row end">
            {Object.entries(words.muteFor).map(([minutes, text]) => (
              <button key={minutes} type="button" onClick={() => { onClose(); give(raid, { type: 'mute', player, until: Math.round(account.client.now()) + Number(minutes) * 60_000 }); }}>{text}</button>
            ))}
          </div>
        </Dialog>
      );
  }
}

interface RowProps {
  member: Member;
  standing: Standing | undefined;
  me: boolean;
  leads: boolean;
  emote: { emoji: string; at: number } | null;
  presence: 'online' | 'offline' | 'unknown';
  energy: number;
  /** Until when the member is muted, or null. */
  muted: number | null;
  onAsk: (asked: Asked) => void;
}

const MemberRow = memo(function MemberRow({ member, standing, me, leads, emote, presence, energy, muted, onAsk }: RowProps) {
  const words = useWords();
  const { language } = useSettings();
  const { player, name, role, xp, tasks } = member;
  const presenceText = { online: words.isOnline, offline: words.isOffline, unknown: words.notKnown }[presence];
  return (
    <li className={`member ${presence}`} data-member={player}>
      <Face player={player} name={name} standing={standing}>{emote && <span className="emoted" key={emote.at}>{emote.emoji}</span>}</Face>
      <div className="grow">
        <p className="member-name">
          <span><bdi>{name}</bdi></span><LevelInWords standing={standing} />{me && <small> ({words.you})</small>}
          {role === 'leader' && <span className="crown" title={words.leader}><span aria-hidden="true">♛</span><span className="unseen">{words.leader}</span></span>}
          <span className="presence" title={presenceText}><span className="unseen">{presenceText}</span></span>
        </p>
        <div className="energy-of" title={words.energyOf(energy)}>
          <Bar label={words.energy} text={words.energyOf(energy)} value={energy} max={100} tone={energy < 20 ? 'energy low' : 'energy'} /><span aria-hidden="true">{energy}</span><StreakOf standing={standing} />
        </div>
        <small>{words.memberXp(xp, tasks)}</small>
        {muted !== null && <small className="muted">{words.mutedUntil(timeOfDay(muted, language))}</small>}
      </div>
      {leads && !me && (
        <div className="member-tools">
          <button type="button" className="quiet icon" aria-label={words.promote(name)} title={words.promote(quote(name))} onClick={() => onAsk({ what: 'promote', member })}>♛</button>
          {muted === null
            ? <button type="button" className="quiet icon" aria-label={words.mute(name)} title={words.mute(quote(name))} onClick={() => onAsk({ what: 'mute', member })}>🔇</button>
            : <button type="button" className="quiet icon" aria-label={words.unmute(name)} title={words.unmute(quote(name))} onClick={() => onAsk({ what: 'unmute', member })}>🔊</button>}
          <button type="button" className="quiet icon" aria-label={words.kick(name)} title={words.kick(quote(name))} onClick={() => onAsk({ what: 'kick', member })}>✕</button>
        </div>
      )}
    </li>
  );
});
