import { render } from 'preact';
import '../shared/theme.css';
import './device.css';
import { applyTheme } from '../shared/preferences.ts';
import { App } from './app.tsx';
import { followAgent } from './device-store.ts';
import { tokenWanted } from '../shared/api.ts';

applyTheme();
const root = document.getElementById('app');
if (root === null) throw new Error('the page has no element #app');
render(<App />, root);

let following = new AbortController();
void followAgent(following.signal);
// A new token: connect again at once.
tokenWanted.subscribe((isWanted) => {
  following.abort();
  if (isWanted) return;
  following = new AbortController();
  void followAgent(following.signal);
});
