// Longer than 300 lines because all texts of the view are in one file, for translators.
import type { AgentUpdate } from '../../../contract/agent-update.ts';
import type { DoctorReport } from '../../../contract/doctor.ts';
import type { InstallPhase, ModelShadow } from '../../../contract/model.ts';
import type { Event } from '../../../contract/states.ts';
import type { HealthArea } from '../../shared/degraded-text.ts';
import type { Tone } from '../../shared/tone.ts';

const count = (n: number, one: string, many: string): string => `${String(n)} ${n === 1 ? one : many}`;

const tones: Readonly<Record<Tone, string>> = { ok: 'Good', warn: 'Check', bad: 'Fault', off: 'Unknown' };
const areas: Readonly<Record<HealthArea, string>> = {
  broker: 'Broker',
  outbox: 'Outbox',
  cameras: 'Cameras',
  model: 'Model',
  disk: 'Disk',
  memory: 'Memory',
  processor: 'Processor',
  power: 'Power',
  clock: 'Clock',
  agent: 'Agent',
};

/** Names of the phases of an install, and what happens in each. */
const installPhases: Readonly<Record<InstallPhase, readonly [string, string]>> = {
  requested: ['Requested', 'The install waits for its turn.'],
  downloading: ['Download', 'The model is downloaded. An interrupted download continues where it stopped.'],
  verifying: ['Signature', 'The signatures and the digests are checked.'],
  testing: ['Test', 'The model has to give the right results on this device.'],
  shadow: [
    'Comparison',
    'The new model reads live frames beside the present one. Its results are not published.',
  ],
  probation: ['Trial', 'The new model is in use. The former one returns by itself if the new one fails.'],
  committed: ['In use', 'The new model has passed its trial.'],
  failed: ['Failed', 'The install failed. The former model was in use all the time.'],
  rolled_back: ['Returned', 'The new model failed in its trial. The former model is in use again.'],
};
const updatePhases: Readonly<Record<AgentUpdate['phase'], readonly [string, string]>> = {
  requested: ['Requested', 'The update waits for its turn.'],
  downloading: ['Download', 'The version is downloaded. An interrupted download continues where it stopped.'],
  verifying: ['Signature', 'The signatures and the digests are checked.'],
  waiting: ['Waits', 'The update waits for the hours that the settings allow.'],
  installing: ['Install', 'The version is unpacked and tried. Then the agent restarts.'],
  trial: ['Trial', 'The new version runs. The former one returns by itself if the new one fails.'],
  committed: ['In use', 'The version has passed its trial.'],
  failed: ['Failed', 'The update failed. The former version runs.'],
  returned: ['Returned', 'The version failed in its trial. The former version runs again.'],
};
const calibrationOutcomes: Readonly<
  Record<ModelShadow['calibrations'][number]['outcome'], (labels: number) => string>
> = {
  kept: (n) => `keeps ${count(n, 'reading', 'readings')}`,
  refitted: (n) => `${count(n, 'reading', 'readings')} computed again from kept frames`,
  lost: () => 'needs new readings: no frames of the old ones are kept',
  none: () => 'has no readings',
};
const severities: Readonly<Record<Event['severity'], readonly [string, Tone]>> = {
  info: ['Info', 'off'],
  warning: ['Warning', 'warn'],
  error: ['Error', 'bad'],
};
const findings: Readonly<Record<DoctorReport['checks'][number]['state'], readonly [string, Tone]>> = {
  ok: ['Good', 'ok'],
  warn: ['Check', 'warn'],
  fail: ['Fault', 'bad'],
};

/** All texts of the view; its chunk is loaded when the view is first shown. */
export const agentText = {
  parts: { health: 'Health', model: 'Model', software: 'Software', events: 'Events' },
  partsLabel: 'Parts of this view',
  cancel: 'Cancel',
  working: 'Working …',
  todo: 'What to do',
  code: 'Code',
  details: 'Details',
  waitsForAgent: 'The agent has not answered yet.',

  tones,
  areas,
  verdict: {
    ok: 'Everything works',
    warn: (n: number) => `Works, with ${count(n, 'thing', 'things')} to check`,
    bad: (n: number) => count(n, 'fault', 'faults'),
    okNote: 'The agent reports no problem.',
    warnNote: 'Readings are made and stored.',
    badNote: 'Readings are missing, or do not arrive.',
    asOf: (age: string) => `Heartbeat ${age} old`,
  },
  vitals: {
    title: 'Heartbeat in words',
    connected: (duration: string, rtt: string | null) =>
      `Connected for ${duration}${rtt === null ? '' : `, ${rtt} away`}`,
    notConnected: 'Not connected',
    reconnects: (n: number) => `${count(n, 'new connection', 'new connections')} in the last hour`,
    outbox: (n: number) => `Holds ${count(n, 'message', 'messages')}`,
    oldest: (age: string) => `the oldest has waited ${age}`,
    dropped: (n: number) => `${count(n, 'message was', 'messages were')} dropped so far`,
    noneDropped: 'none dropped',
    cameras: (up: number, all: number) =>
      all === 0
        ? 'No camera is configured'
        : up === all
          ? all === 1
            ? 'The camera delivers frames'
            : `All ${String(all)} cameras deliver frames`
          : `${String(up)} of ${count(all, 'camera', 'cameras')} ${up === 1 ? 'delivers' : 'deliver'} frames`,
    captureFailures: (n: number) => `${count(n, 'failure', 'failures')} in the last hour`,
    slowed: (n: number) => `only every ${String(n)}th frame is taken`,
    reads: (ms: string) => `Reads a frame in ${ms}`,
    noReads: 'Has read no frame yet',
    noModel: 'No model runs',
    slowest: (ms: string) => `at most ${ms} for 95 %`,
    on: (provider: string) => `on ${provider}`,
    restarts: (n: number) => count(n, 'restart', 'restarts'),
    disk: (used: string) => `${used} used`,
    diskUnknown: 'Use of the disk not known',
    written: (amount: string) => `${amount} written a day`,
    free: (amount: string) => `${amount} free`,
    life: (used: string) => `${used} of its life used`,
    memory: (agent: string) => `${agent} used by the agent`,
    memoryModel: (amount: string) => `and ${amount} by the model`,
    temperatureUnknown: 'Temperature not known',
    load: (value: string) => `load ${value}`,
    throttled: 'slowed down',
    voltageLow: 'The voltage is too low',
    voltageGood: 'The voltage is good',
    powerUnknown: 'This machine does not report its voltage',
    overCurrent: (n: number) => `${count(n, 'overload', 'overloads')} in the last hour`,
    synced: 'Set by a time source',
    notSynced: 'Not set by a time source',
    offset: (ms: string) => `${ms} off`,
    running: (duration: string) => `Runs for ${duration}`,
    version: (version: string) => `version ${version}`,
  },
  problems: { title: 'What to check', reason: 'The camera reports' },
  outbox: {
    title: 'Messages for the broker',
    empty: 'No message waits. Each one leaves the device when the broker has confirmed it.',
    waiting: 'Waiting, oldest first',
    rejected: (n: number) => `${count(n, 'message was', 'messages were')} rejected by the broker`,
    rejectedNote:
      'They are set aside and not sent again. Check the access rules and the size limits of the broker.',
    waits: (age: string) => `waits for ${age}`,
    more: (n: number) => `and ${count(n, 'other', 'others')}`,
  },
  doctor: {
    title: 'Examination',
    note: 'Checks the disk, clock, network, cameras, model and broker from inside. It changes nothing and takes some seconds.',
    run: 'Examine the device',
    again: 'Examine again',
    running: 'Examining …',
    good: (n: number) => `${count(n, 'check', 'checks')} found nothing wrong`,
    allGood: 'Nothing is wrong.',
    found: (n: number) => `${count(n, 'thing', 'things')} to mend`,
    at: (time: string) => `Examined at ${time}`,
    findings,
  },
  report: {
    title: 'Report for support',
    note: 'One file with health, settings, events and warnings of the log. It contains no passwords, tokens or addresses with secrets.',
    download: 'Download the report',
    done: (name: string) => `${name} was downloaded.`,
  },

  model: {
    title: 'Models on this device',
    none: 'empty',
    slots: {
      active: ['In use', 'reads the frames now'],
      candidate: ['Candidate', 'is being installed'],
      previous: ['Previous', 'where “Return” leads'],
      factory: ['Shipped', 'came with the agent, always there'],
    },
    trusted: 'Signed',
    untrusted: 'Not signed',
    pinned:
      'The setting `model.active` pins this model. Installs and returns are refused until it is removed.',
    rollback: (name: string) => `Return to ${name}`,
    rollbackTitle: 'Return to the previous model?',
    rollbackBefore: (from: string, to: string) =>
      `${to} reads the next frame instead of ${from}. It is on the device, so no network is needed. No frame is lost. Readings of people stay; the calibration may be computed again.`,
    rollbackDone: (name: string) => `${name} is in use now.`,
    noPrevious: 'There is no previous model to return to.',
    reload: 'Start the model again',
    reloadTitle: 'Start the model again?',
    reloadBefore: 'A new process opens the same model and takes over. No frame and no request is lost.',
    reloadDone: (name: string) => `${name} was started again.`,
    install: 'Install a model',
    installTitle: 'Install a model',
    installBefore:
      'The model comes from the repository of this device. Its signature is checked, it is tested on this device, compared with the present model on live frames, and then used on trial. Until then the present model reads all frames. If the new one fails, the present one returns by itself.',
    name: 'Name',
    version: 'Version',
    versionHint: 'Such as 1.2.0.',
    versionFault: 'A version has three numbers, such as 1.2.0.',
    nameFault: 'A name has small letters, digits, dots and hyphens.',
    digest: 'Digest (optional)',
    digestHint: 'sha256: and 64 characters. A model with another digest is refused.',
    digestFault: 'A digest is sha256: and 64 digits from 0 to f.',
    clearFailed: 'Install it although it failed on this device before',
    start: 'Install',
    started: (name: string) => `The install of ${name} has started.`,
    busy: 'An install is running. Wait for its end, or abort it.',
  },
  install: {
    title: (name: string) => `Install of ${name}`,
    last: (name: string) => `Last install: ${name}`,
    phases: installPhases,
    abort: 'Abort the install',
    abortTitle: 'Abort the install?',
    abortBefore: (active: string) => `The install ends and its files are deleted. ${active} stays in use.`,
    abortDone: 'The install was aborted.',
    bytes: (part: string, all: string) => `${part} of ${all}`,
    shadowFrames: (n: number) => `Compared on ${count(n, 'frame', 'frames')}`,
    shadowTimes: (candidate: string, active: string) => `${candidate} for a frame, ${active} before`,
    shadowHeight: (mean: string) => `heights differ by ${mean} on average`,
    shadowFailures: (n: number) => `${count(n, 'frame', 'frames')} failed`,
    probation: (answers: number, failures: number) =>
      `${count(answers, 'frame', 'frames')} read on trial, ${String(failures)} failed`,
    calibration: (camera: string, what: string) => `${camera}: ${what}`,
    calibrationOutcomes,
    at: (time: string) => `since ${time}`,
    ended: (time: string) => `at ${time}`,
  },
  refused: {
    title: 'Refused models',
    note: 'They failed on this device, and are refused until someone installs them in spite of it.',
    again: 'Install anyway',
    failedAt: (time: string) => `Failed at ${time}`,
  },
  providers: {
    title: 'What computes the model',
    note: 'The agent tries what this hardware offers, and takes the fastest that gives the right results.',
    none: 'No provider was tried: the model has not been opened yet.',
    threads: (n: number) => count(n, 'thread', 'threads'),
    outcomes: {
      chosen: ['In use', 'ok', 'It gives the right results, and nothing that does is faster.'],
      slower: ['Slower', 'off', 'It gives the right results, but takes longer.'],
      failed: ['Failed', 'warn', 'It was tried and cannot be used.'],
      not_built_in: ['Missing', 'off', 'This installation does not contain it.'],
      not_tried: ['Not tried', 'off', 'It was left out.'],
    } as Readonly<Record<string, readonly [string, Tone, string] | undefined>>,
  },

  software: {
    title: 'Versions of the agent',
    running: ['Running', 'this version runs now'],
    lastGood: ['Last good', 'the version that passed its trial last'],
    factory: ['Shipped', 'the version that was installed first'],
    others: 'Also on the device',
    banned: 'Refused versions',
    isBanned: 'Refused',
    bannedNote: 'They failed on this device and are refused.',
    unavailable: 'This installation has no updater, so the page cannot change its version.',
    unavailableHint: 'Install the agent with scripts/install.sh. Containers are updated with a new image.',
    auto: (newest: string | null) =>
      newest === null
        ? 'New versions are installed by themselves. None was found yet.'
        : `New versions are installed by themselves. The newest one is ${newest}.`,
    manual: 'New versions are installed only on request.',
    newest: (version: string) => `The newest version in the repository is ${version}.`,
    install: 'Install a version',
    installTitle: 'Install another version of the agent',
    installBefore:
      'The version is downloaded, its signature is checked, and it is tried on this device. Then the agent restarts: for about a minute this page gets no data, and frames of that time are missed. The new version runs on trial, and the present one returns by itself if it fails.',
    started: (version: string) => `The update to ${version} has started. The agent will restart.`,
    rollback: 'Return to the former version',
    rollbackTitle: 'Return to the former version?',
    rollbackBefore: (running: string) =>
      `The agent stops ${running} and starts the former version on this device; no network is needed. For about a minute this page gets no data, and frames of that time are missed. Readings and settings stay.`,
    rollbackStarted: (version: string) => `The return to ${version} has started. The agent will restart.`,
    noFormer: 'There is no other version on the device to return to.',
    update: (version: string) => `Update to ${version}`,
    back: (version: string) => `Return to ${version}`,
    lastUpdate: (title: string) => `Last: ${title}`,
    phases: updatePhases,
    waitsFor: (what: string) => `Not confirmed yet: waits for ${what}.`,
    waits: {
      time: 'the end of the trial',
      observations: 'readings',
      vision: 'the model',
      store: 'the database',
      broker: 'the broker',
    } as Readonly<Record<string, string | undefined>>,
    automatic: 'Started by the agent itself',
  },

  events: {
    title: 'Events',
    filter: 'Show',
    filters: { info: 'All', warning: 'Warnings', error: 'Errors' },
    none: 'No event of this kind is stored.',
    older: 'Older events',
    severities,
    loading: 'Reading …',
  },
  log: {
    title: 'Log of this run',
    note: 'What the agent wrote for engineers since its start, without secrets.',
    show: 'Show the log',
    again: 'Read again',
    search: 'Search in the log',
    lines: (n: number) => count(n, 'line', 'lines'),
    label: 'Lines of the log, newest first',
  },
} as const;
