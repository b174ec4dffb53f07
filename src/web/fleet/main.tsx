import { render } from 'preact';
import '../shared/theme.css';
import './fleet.css';
import { applyTheme } from '../shared/preferences.ts';
import { App } from './app.tsx';
import { followLogin } from './fleet-store.ts';

applyTheme();
const root = document.getElementById('app');
if (root === null) throw new Error('the page has no element #app');
followLogin();
render(<App />, root);
