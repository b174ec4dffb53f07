import { render } from 'preact';
import '../shared/theme.css';
import { applyTheme } from '../shared/preferences.ts';
import { text } from '../shared/text.ts';

applyTheme();
const root = document.getElementById('app');
if (root === null) throw new Error('the page has no element #app');
render(<h1>{text.title}</h1>, root);
