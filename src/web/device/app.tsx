import type { ComponentType } from 'preact';
import { useEffect } from 'preact/hooks';
import { formatDuration } from '../shared/format.ts';
import { FailureBoundary, lazyView } from '../shared/lazy-view.tsx';
import { clockOffsetMs } from '../shared/api.ts';
import { addressOf, route } from '../shared/route.ts';
import { text } from '../shared/text.ts';
import { dataAgeS, health, isLocked, liveness, problem, status } from './device-store.ts';
import { Header } from './header.tsx';
import { NowView } from './now/now-view.tsx';
import { TokenForm } from './token-form.tsx';
import { ProblemNote } from '../shared/ui.tsx';

const MAX_CLOCK_DIFFERENCE_MS = 120_000;

interface View {
  /** In the address. */
  readonly name: string;
  readonly label: string;
  readonly View: ComponentType;
}
const NOW: View = { name: 'now', label: text.views.now, View: NowView };
/** In the order of the navigation. All but the first load their code when they are first shown: see `lazyView`. */
const VIEWS: readonly View[] = [
  NOW,
  {
    name: 'history',
    label: text.views.history,
    View: lazyView(async () => (await import('./history/history-view.tsx')).HistoryView),
  },
  {
    name: 'setup',
    label: text.views.setup,
    View: lazyView(async () => (await import('./setup/setup-view.tsx')).SetupView),
  },
  {
    name: 'agent',
    label: text.views.agent,
    View: lazyView(async () => (await import('./agent/agent-view.tsx')).AgentView),
  },
];

export function App() {
  const view = VIEWS.find(({ name }) => name === route.value.view) ?? NOW;
  useEffect(() => {
    document.title = `${status.value === null ? '' : `${status.value.info.site} · `}${text.title}`;
  });
  if (isLocked.value) return <TokenForm />;
  return (
    <div class={`page ${liveness.value === 'stale' ? 'is-stale' : ''}`}>
      <a class="skip" href="#content" onClick={skipToContent}>
        {text.head.skip}
      </a>
      <Header>
        <nav class="views" aria-label={text.head.menu}>
          {VIEWS.map(({ name, label }) => (
            <a key={name} href={addressOf(name)} aria-current={view.name === name ? 'page' : undefined}>
              {label}
            </a>
          ))}
        </nav>
      </Header>
      <main id="content" tabIndex={-1}>
        <Notes />
        <FailureBoundary key={view.name}>
          <view.View />
        </FailureBoundary>
      </main>
    </div>
  );
}

/** The hash of the address names the view, so that the link moves the focus itself. */
function skipToContent(event: Event): void {
  event.preventDefault();
  document.getElementById('content')?.focus();
}

function Notes() {
  const isClockWrong = Math.abs(clockOffsetMs.value) > MAX_CLOCK_DIFFERENCE_MS;
  return (
    <div class="notes" role="status">
      {liveness.value === 'stale' ? (
        <p class="note warn">{text.live.staleNote(formatDuration(dataAgeS.value))}</p>
      ) : null}
      {liveness.value === 'connecting' && problem.value !== null ? (
        <ProblemNote problem={problem.value} />
      ) : null}
      {isClockWrong ? (
        <p class="note warn">{text.live.clockNote(formatDuration(Math.abs(clockOffsetMs.value) / 1000))}</p>
      ) : null}
      {health.value?.clock.synced === false ? <p class="note warn">{text.live.unsyncedNote}</p> : null}
    </div>
  );
}
