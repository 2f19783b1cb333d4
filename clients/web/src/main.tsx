import './styles/type.css';
import './styles/base.css';
import './styles/parts.css';
import './styles/lobby.css';
import './styles/raid.css';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { resume } from './account';
import { App } from './app';
import { followRewards } from './effects/rewards';
import { listenForTouch } from './effects/sound';
import { followPlayer } from './player-settings';
import { putLobbyBeforeInvite } from './route';
import { apply } from './settings';

apply();
putLobbyBeforeInvite();
resume();
followPlayer();
followRewards();
listenForTouch();
createRoot(document.getElementById('root')!).render(<StrictMode><App /></StrictMode>);
// Not in development, where a cached file would hide changes.
if (import.meta.env.PROD && 'serviceWorker' in navigator) addEventListener('load', () => void navigator.serviceWorker.register('/sw.js').catch(() => {}));
