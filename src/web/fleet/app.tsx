import { useEffect } from 'preact/hooks';
import { ageS } from '../shared/ages.ts';
import { formatDuration } from '../shared/format.ts';
import { FailureBoundary, lazyView } from '../shared/lazy-view.tsx';
import { Logo } from '../shared/logo.tsx';
import { PageChoices } from '../shared/page-choices.tsx';
import { replaceParams, route } from '../shared/route.ts';
import { text } from '../shared/text.ts';
import { StateMark } from '../shared/ui.tsx';
import { ConnectForm } from './connect-form.tsx';
import { lastMessage, link } from './connection.ts';
import { DeviceList } from './device-list.tsx';
import { DevicePanel } from './device-panel.tsx';
import { MAX_DEVICES } from './device-table.ts';
import { isFull, openName, shownRows, snapshot } from './fleet-store.ts';
import { fleetText } from './fleet-text.ts';
import { closeLogin, login } from './login.ts';
import { served } from './served.ts';
import { Summary } from './summary.tsx';
import { Toolbar } from './toolbar.tsx';

const FleetMap = lazyView(async () => (await import('./map/fleet-map.tsx')).FleetMap);
/** Without any message for so long, the mark says so: devices send a heartbeat every 30 s. */
const SILENT_AFTER_MS = 90_000;

export function App() {
  const worst = snapshot.value.rows.filter(({ condition }) => condition === 'offline').length;
  useEffect(() => {
    document.title = `${worst > 0 ? `(${String(worst)}) ` : ''}${fleetText.appName}`;
  }, [worst]);
  if (login.value === null || link.value.kind === 'failed') return <ConnectForm />;
  return (
    <div class={`fleet ${link.value.kind === 'lost' ? 'is-stale' : ''}`}>
      <a class="skip" href="#content" onClick={skipToContent}>
        {fleetText.skip}
      </a>
      <Header />
      <main id="content" tabIndex={-1}>
        <Notes />
        <FailureBoundary>{snapshot.value.rows.length === 0 ? <Empty /> : <Devices />}</FailureBoundary>
      </main>
    </div>
  );
}

function Devices() {
  const isMap = route.value.view === 'map';
  return (
    <>
      <Summary />
      <Toolbar />
      <div class={`split ${openName.value === null ? '' : 'with-panel'}`}>
        <div class="pane card">
          {isMap ? <FleetMap /> : shownRows.value.length === 0 ? <NoMatch /> : <DeviceList />}
        </div>
        {openName.value === null ? null : <DevicePanel key={openName.value} name={openName.value} />}
      </div>
    </>
  );
}

function NoMatch() {
  return (
    <div class="empty stack">
      <p>{fleetText.list.none}</p>
      <button type="button" onClick={() => replaceParams({ q: null, show: null, site: null, tag: null })}>
        {fleetText.list.clear}
      </button>
    </div>
  );
}

function Empty() {
  const isWaiting = link.value.kind !== 'open';
  return (
    <div class="empty stack" role="status">
      <p>{isWaiting ? fleetText.link.connecting : fleetText.link.noDevices}</p>
      {isWaiting ? null : <p class="muted">{fleetText.link.noDevicesNote(login.value?.base ?? '')}</p>}
    </div>
  );
}

function Header() {
  const broker = served?.broker ?? login.value?.broker ?? '';
  return (
    <header class="head">
      <div class="brand">
        <Logo />
        <h1>{fleetText.title}</h1>
        <LiveMark />
      </div>
      <p class="broker muted small">{URL.parse(broker)?.host ?? broker}</p>
      <div class="head-choices">
        <PageChoices />
        <button type="button" class="quiet" onClick={closeLogin}>
          {fleetText.link.disconnect}
        </button>
      </div>
    </header>
  );
}

/** Follows arriving messages, and not the socket. */
function LiveMark() {
  const { kind } = link.value;
  // Drawn again with each snapshot: the time of the last message is no signal.
  const { nowMs } = snapshot.value;
  if (kind === 'lost') return <StateMark tone="bad">{fleetText.link.lost}</StateMark>;
  if (kind !== 'open') return <StateMark tone="off">{fleetText.link.connecting}</StateMark>;
  if (lastMessage.ms === 0) return <StateMark tone="off">{fleetText.link.waiting}</StateMark>;
  const silentMs = nowMs - lastMessage.ms;
  if (silentMs > SILENT_AFTER_MS)
    return <StateMark tone="warn">{text.live.stale(formatDuration(silentMs / 1000))}</StateMark>;
  return <StateMark tone="ok">{fleetText.link.live}</StateMark>;
}

function Notes() {
  const state = link.value;
  return (
    <div class="notes" role="status">
      {state.kind === 'lost' ? (
        <p class="note warn">{fleetText.link.lostNote(formatDuration(ageS(state.sinceMs)))}</p>
      ) : null}
      {isFull.value ? (
        <p class="note warn">{fleetText.link.fullNote(MAX_DEVICES.toLocaleString('en'))}</p>
      ) : null}
    </div>
  );
}

/** The hash of the address names the view, so that the link moves the focus itself. */
function skipToContent(event: Event): void {
  event.preventDefault();
  document.getElementById('content')?.focus();
}
