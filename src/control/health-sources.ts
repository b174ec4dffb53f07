import type { TimeSync } from '../health/time-sync.ts';
import type { HealthSources } from '../health/types.ts';
import type { ModelLifecycle } from '../model/lifecycle.ts';
import type { Link } from '../mqtt/types.ts';
import type { CameraSet } from '../observation/cameras.ts';
import type { ModelServer } from '../serving/model-server.ts';
import type { Store } from '../store/store.ts';

export interface HealthSourceParts {
  readonly cameras: CameraSet;
  readonly link: Link;
  readonly server: ModelServer;
  readonly store: Store;
  readonly models: ModelLifecycle;
  readonly time: TimeSync;
}

/** Where the heartbeat reads its values from. */
export const healthSources = (parts: HealthSourceParts): HealthSources => ({
  cameras: () => parts.cameras.list().map((camera) => camera.healthLine()),
  link: () => parts.link.stats(),
  vision: () => {
    const { report, pid } = parts.server;
    return { stats: parts.server.stats(), provider: report?.provider ?? null, pid };
  },
  outbox: () => parts.store.outbox.stats(),
  model: () => {
    const { model, trusted } = parts.server;
    const { phase, expiry_checked: expiryChecked = true } = parts.models.state();
    return {
      name: model?.name ?? null,
      version: model?.version ?? null,
      digest: model?.digest ?? null,
      phase,
      trusted,
      expiryChecked,
    };
  },
  clock: () => parts.time.state(),
  store: () => parts.store.failureCode(),
});
