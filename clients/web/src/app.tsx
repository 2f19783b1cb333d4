import { lazy, Suspense, useEffect, useRef } from 'react';
import { useAccount } from './account';
import { Boundary } from './parts/boundary';
import { Header } from './parts/header';
import { Notices } from './parts/notices';
import { useRoute } from './route';
import { Invited } from './screens/invited';
import { Lobby } from './screens/lobby';
import { NotFound } from './screens/not-found';
import { SignIn } from './screens/sign-in';

/** Loaded when they are first opened, as the first page needs none of them. */
const Boards = lazy(async () => ({ default: (await import('./screens/boards')).Boards }));
const Inbox = lazy(async () => ({ default: (await import('./screens/inbox')).Inbox }));
const Me = lazy(async () => ({ default: (await import('./screens/me')).Me }));
const loadRaidScreen = async () => ({ default: (await import('./screens/raid')).RaidScreen });
const RaidScreen = lazy(loadRaidScreen);

export function App() {
  return (
    <Boundary>
      <Header />
      <main id="content" tabIndex={-1}><Screen /></main>
      <Notices />
      <div id="effects" aria-hidden="true" />
    </Boundary>
  );
}

function Screen() {
  const account = useAccount();
  const route = useRoute();
  const place = `${account?.player.id} ${route.at}`;
  const shown = useRef(place);
  useEffect(() => {
    // Keyboard and screen reader users continue at the new screen. The first screen sets its own
    // focus.
    if (shown.current !== place) document.getElementById('content')?.focus({ preventScroll: true });
    shown.current = place;
  }, [place]);
  const isSignedIn = account !== null;
  useEffect(() => {
    // It is there before the player opens a raid. A failure is shown when they do.
    if (isSignedIn) void loadRaidScreen().catch(() => {});
  }, [isSignedIn]);
  if (route.at === 'nowhere') return <NotFound />;
  if (route.at === 'invite') return <Invited key={route.code} account={account} code={route.code} />;
  if (!account) return <SignIn />;
  const { id } = account.player;
  switch (route.at) {
    case 'raid':
      return <Suspense><RaidScreen key={`${id} ${route.id}`} account={account} id={route.id} /></Suspense>;
    case 'me':
      return <Suspense><Me key={id} account={account} /></Suspense>;
    case 'boards':
      return <Suspense><Boards key={id} account={account} board={route.board} number={route.number} /></Suspense>;
    case 'inbox':
      return <Suspense><Inbox key={id} account={account} /></Suspense>;
    case 'lobby':
      return <Lobby key={id} account={account} />;
  }
}
