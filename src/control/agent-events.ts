import type { AnalysisOutcome } from '../analysis/analysis.ts';
import { Emitter } from '../base/emitter.ts';
import type { AgentError } from '../base/errors.ts';
import type { AgentProgress } from '../contract/agent-update.ts';
import type { ModelProgress } from '../contract/model.ts';
import type { Observation } from '../contract/observation.ts';
import type { SeaStateRecord } from '../contract/sea-state.ts';
import type { Heartbeat } from '../health/heartbeat.ts';
import type { Metrics } from '../health/metrics/metrics.ts';
import type { Feed } from '../http/feed.ts';
import type { ModelLifecycle } from '../model/lifecycle.ts';
import type { Bundle } from '../model/manifest.ts';
import { BLOCK_COMMAND } from '../mqtt/blocks/block-codec.ts';
import type { ModelBlocks } from '../mqtt/blocks/model-blocks.ts';
import type { Commands } from '../mqtt/commands/commands.ts';
import type { Discovery } from '../mqtt/discovery/discovery.ts';
import type { Forwarder } from '../mqtt/forward/forwarder.ts';
import type { StatePublisher } from '../mqtt/state-publisher.ts';
import type { CommandPacket } from '../mqtt/types.ts';
import type { CameraSet } from '../observation/cameras.ts';
import type { SeaStateReports } from '../observation/sea-state-reports.ts';
import type { Reembedder } from '../observation/reembedding.ts';
import type { OutboxEntry } from '../store/types.ts';
import type { Updates } from '../update/updates.ts';

/** Events from parts of the agent to parts that are constructed after them. */
export const createAgentEvents = () => ({
  /** A connection to the broker is complete: subscribed, and the retained states are published. */
  connected: new Emitter(),
  /** A message came on `cmd/{name}`. */
  command: new Emitter<[name: string, packet: CommandPacket]>(),
  /** A state or a transient message was set, with or without a connection. Topics are relative to the device's base. */
  published: new Emitter<[topic: string, payload: unknown]>(),
  /** The broker acknowledged a message of the outbox. */
  delivered: new Emitter<[entry: OutboxEntry, historical: boolean]>(),
  /** An observation is stored. */
  observed: new Emitter<[observation: Observation]>(),
  /** The sea state of a clip is stored. */
  seaStateStored: new Emitter<[record: SeaStateRecord]>(),
  /** An uploaded image was answered. */
  analysed: new Emitter<[outcome: AnalysisOutcome]>(),
  /** Times of stored records were corrected. */
  timesCorrected: new Emitter(),
  /** A bundle is proved and about to become the active one; the swap waits for the listeners. */
  bundleProved: new Emitter<[bundle: Bundle]>(),
  /** Another bundle is the active one. */
  bundleChanged: new Emitter(),
  /** An installed model did not start. `fellBack`: another one is tried now. */
  modelStartFailed: new Emitter<[error: AgentError, fellBack: boolean]>(),
  /** The state of the models or of an install changed. */
  modelChanged: new Emitter(),
  installProgress: new Emitter<[progress: ModelProgress]>(),
  /** The versions of the agent or its update changed. */
  updateChanged: new Emitter(),
  updateProgress: new Emitter<[progress: AgentProgress]>(),
});

export interface EventListeners {
  readonly metrics: Metrics;
  readonly feed: Feed;
  readonly blocks: ModelBlocks;
  readonly forwarder: Forwarder;
  readonly discovery: Discovery;
  readonly heartbeat: Heartbeat;
  readonly commands: Commands;
  readonly cameras: CameraSet;
  readonly seaStates: SeaStateReports;
  readonly reembedder: Reembedder;
  readonly models: ModelLifecycle;
  readonly states: StatePublisher;
  readonly updates: Updates;
}

/** Connects every event with the parts that it concerns. Called once, when all parts exist and before one of them starts. */
export function wireEvents(on: ReturnType<typeof createAgentEvents>, parts: EventListeners): void {
  const { metrics, feed, blocks, forwarder, discovery, heartbeat, commands } = parts;
  const { cameras, seaStates, reembedder, models, states, updates } = parts;

  on.connected.listen(() => forwarder.linkUp());
  on.connected.listen(() => discovery.linkUp());
  on.connected.listen(() => metrics.countConnection());
  on.connected.listen(() => blocks.linkUp());
  on.connected.listen(() => heartbeat.nudge());

  on.command.listen((name, packet) =>
    name === BLOCK_COMMAND ? blocks.receive(packet) : commands.receive(name, packet),
  );
  on.published.listen((topic, payload) => feed.publish(topic, payload));
  on.delivered.listen((entry, historical) => metrics.countDelivery(entry, historical));

  on.observed.listen((observation) => metrics.countObservation(observation));
  on.observed.listen(() => feed.wake());
  on.observed.listen((observation) => updates.noteObservation(observation));
  on.seaStateStored.listen((record) => metrics.countSeaState(record));
  on.analysed.listen((outcome) => metrics.countAnalysis(outcome));
  on.timesCorrected.listen(() => cameras.publishCorrected());
  on.timesCorrected.listen(() => seaStates.publishCorrected());

  on.bundleProved.listen((bundle) => cameras.prepare(bundle));
  on.bundleChanged.listen(() => cameras.relearn());
  on.bundleChanged.listen(() => reembedder.nudge());
  on.bundleChanged.listen(() => states.publish());

  on.modelStartFailed.listen((error, fellBack) => models.startFailed(error, fellBack));
  on.modelChanged.listen(() => models.answerPending());
  on.modelChanged.listen(() => states.publish());
  on.modelChanged.listen(() => heartbeat.nudge());
  on.updateChanged.listen(() => states.publish());
  on.updateProgress.listen((progress) => states.publishTransient('agent/progress', progress));
  on.installProgress.listen((progress) => {
    const isNewStep = models.noteProgress(progress);
    states.publishTransient('model/progress', progress);
    if (isNewStep) states.publish();
  });
}
