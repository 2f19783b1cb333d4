// The page's header: one row that stays in view. On a narrow screen the tools are in a menu.
import { Suspense, useState } from 'react';
import { useMe } from '@raidhall/client/react';
import { signOut, useAccount } from '../account';
import type { Account } from '../account';
import { complain } from '../notices';
import { change } from '../player-settings';
import { goToBoards, goToLobby, goToMe, useRoute } from '../route';
import { useSettings, useWords } from '../settings';
import type { Theme } from '../settings';
import { value } from '../value';
import { Avatar } from './avatar';
import { ConnectionState } from './connection';
import { Confirm } from './dialog';
import { InboxButton, Unread } from './inbox-button';
import { optional } from './optional';
import { Rewards } from './rewards';
import { plain, quote } from './sentence';

const Icon = optional(() => import('./icon'));
const InboxAnnouncer = optional(() => import('./inbox-announcer'));

/** The place in the header for the raid's countdown. */
export const headerSlot = value<HTMLElement | null>(null);

const NEXT: Record<Theme, Theme> = { system: 'dark', dark: 'light', light: 'system' };
const FACES: Record<Theme, string> = { system: '◐', dark: '☾', light: '☀' };

export function Header() {
  const words = useWords();
  const { theme, sound, language } = useSettings();
  const account = useAccount();
  const [leaving, setLeaving] = useState(false);
  return (
    <header className="top">
      <a className="skip" href="#content" onClick={event => { event.preventDefault(); document.getElementById('content')?.focus(); }}>{words.skip}</a>
      <button type="button" className="brand" onClick={() => goToLobby()} aria-label={account ? `Raidhall: ${words.back}` : 'Raidhall'}>
        <img src="/icon.svg" alt="" width="32" height="32" /><span>Raidhall</span>
      </button>
      {account && <div className="status"><ConnectionState client={account.client} /><Rewards /><Suspense><InboxAnnouncer key={account.player.id} client={account.client} /></Suspense></div>}
      <div className="slot" ref={headerSlot.set} />
      {account && <ProfileButton account={account} />}
      <button type="button" className="quiet icon menu" popoverTarget="tools"><span aria-hidden="true" title={words.menu}>☰</span>{account ? <Unread client={account.client} name={words.menu} /> : <span className="unseen">{words.menu}</span>}</button>
      <div className="tools" id="tools" popover="auto">
        <button type="button" className="quiet icon" lang={words.languageCode} title={words.language} onClick={() => change('language', language === 'en' ? 'ru' : 'en')}>
          {words.languageCode.toUpperCase()} <span className="unseen">{words.language}</span>
        </button>
        <button type="button" className="quiet icon" aria-label={words.theme[theme]} title={words.theme[theme]} onClick={() => change('theme', NEXT[theme])}>{FACES[theme]}</button>
        <button type="button" className="quiet icon" aria-pressed={sound} aria-label={words.sound(sound)} title={words.sound(sound)} onClick={() => change('sound', !sound)}>{sound ? '♪' : '♪̸'}</button>
        {account && <BoardsButton />}
        {account && <InboxButton client={account.client} />}
        {account && <ProfileButton account={account} />}
        {account && <button type="button" className="quiet" onClick={() => setLeaving(true)}>{words.signOut}</button>}
      </div>
      {account && leaving && <Confirm question={words.signOutConfirm(quote(account.player.name))} onYes={() => signOut().catch(complain)} onClose={() => setLeaving(false)} />}
    </header>
  );
}

function BoardsButton() {
  const words = useWords();
  const isCurrent = useRoute().at === 'boards';
  return (
    <button type="button" className="quiet icon to-page" aria-current={isCurrent ? 'page' : undefined} aria-label={words.boards} title={words.boards} popoverTarget="tools" popoverTargetAction="hide" onClick={goToBoards}>
      <Suspense fallback={<span className="icon-of" />}><Icon name="trophy" /></Suspense>
    </button>
  );
}

/**
 * Leads to the profile. The menu of a narrow screen has it as well, because the header has no room for
 * it while there is no connection.
 */
function ProfileButton({ account: { client, player } }: { account: Account }) {
  const words = useWords();
  const isCurrent = useRoute().at === 'me';
  const { state } = useMe(client);
  const name = state?.name ?? player.name;
  const label = words.profileOf(quote(name), state?.level ?? null);
  return (
    <button type="button" className="quiet me" aria-current={isCurrent ? 'page' : undefined} title={label} popoverTarget="tools" popoverTargetAction="hide" onClick={goToMe}>
      <Avatar player={player.id} name={name} frame={state?.equipped.frame}>{state && <span className="level-badge">{state.level}</span>}</Avatar>
      <span className="me-name" aria-hidden="true"><bdi>{name}</bdi></span>
      <span className="unseen">{plain(label)}</span>
    </button>
  );
}
