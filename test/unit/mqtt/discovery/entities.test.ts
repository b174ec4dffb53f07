import { spawnSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { createDiscoveryMessage } from '../../../../src/mqtt/discovery/discovery-message.ts';
import { CannedAgent, observation, seaState } from '../../../fixtures/agent-api.ts';
import { DISCOVERY_INPUT, discoveryTopics as topics } from '../../../fixtures/discovery-input.ts';
import { render } from '../../../fixtures/jinja.ts';

/** Renders a list of cases with Python's Jinja, in its sandbox and with the functions that Home Assistant adds. */
const SCRIPT = `
import datetime as dt, json, sys
from jinja2 import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
env = ImmutableSandboxedEnvironment(undefined=StrictUndefined)
NONE = object()
def as_timestamp(value, default=NONE):
    if isinstance(value, dt.datetime): return value.timestamp()
    try: return dt.datetime.fromisoformat(value.replace("Z", "+00:00")).timestamp()
    except ValueError:
        if default is NONE: raise
        return default
now = lambda: dt.datetime.now(dt.timezone.utc)
env.globals.update(as_timestamp=as_timestamp, now=now, utcnow=now, timedelta=dt.timedelta)
env.filters["timestamp_utc"] = lambda v: dt.datetime.fromtimestamp(v, dt.timezone.utc).isoformat()
print(json.dumps([env.from_string(t).render(**v) for t, v in json.load(sys.stdin)]))
`;

const hasJinja = spawnSync('python3', ['-c', 'import jinja2']).status === 0;

it.skipIf(!hasJinja)(
  "discovery templates render the same with the fixture and with Python's Jinja (needs jinja2)",
  () => {
    const agent = new CannedAgent();
    const cameras = [{ id: 'north', state: 'up', last_frame_age_s: 2.5, failures_1h: 0, next_run_at: null }];
    const wave = { ...observation.wave, height_m: null, direction: 'LEFT' };
    const { model } = agent.status();
    const messages: Record<string, readonly unknown[]> = {
      status: [{ state: 'online' }, { state: 'stopped' }],
      health: [
        { ...agent.health(), cameras },
        { ...agent.health(), degraded: ['a', 'b'] },
      ],
      'camera/north/latest': [
        observation,
        { ...observation, wave, quality: { ...observation.quality, score: null } },
      ],
      'camera/north/state': [{ state: 'up' }],
      'camera/north/sea_state/latest': [
        seaState,
        { ...seaState, breaking: { white_share: null, per_minute: null, sets: null, set_interval_s: null } },
      ],
      'model/state': [model, { ...model, active: null }, { ...model, candidate: model.active }],
    };
    const message = createDiscoveryMessage({ ...DISCOVERY_INPUT, cameras: ['north'] }, topics);
    const pairs: [string, string][] = [[topics.status, message.availability_template]];
    const commandTemplates: string[] = [];
    for (const component of Object.values(message.components)) {
      if (!('unique_id' in component)) continue;
      const {
        state_topic,
        value_template,
        json_attributes_topic,
        json_attributes_template,
        command_template,
      } = component;
      if (state_topic && value_template) pairs.push([state_topic, value_template]);
      if (json_attributes_topic && json_attributes_template)
        pairs.push([json_attributes_topic, json_attributes_template]);
      if (command_template) commandTemplates.push(command_template);
    }
    const cases = pairs.flatMap(([topic, template]) =>
      (messages[topic.replace(topics.prefix, '')] ?? []).map(
        (value_json) => [template, { value_json, this: { state: 'unknown' } }] as const,
      ),
    );
    expect(cases.length).toBeGreaterThan(50);
    const input = JSON.stringify([...cases, ...commandTemplates.map((template) => [template, {}])]);
    const { stdout, stderr, status } = spawnSync('python3', ['-c', SCRIPT], { input, encoding: 'utf8' });
    expect(stderr).toBe('');
    expect(status).toBe(0);
    const rendered = JSON.parse(stdout) as string[];
    cases.forEach(([template, variables], index) => {
      expect(parseRendered(rendered[index] ?? ''), template).toEqual(
        parseRendered(render(template, variables)),
      );
    });
    for (const text of rendered.slice(cases.length)) expect(JSON.parse(text)).toHaveProperty('id');
  },
);

/** Parses times, numbers and JSON, so that the format does not matter: 87 equals 87.0. */
function parseRendered(text: string): unknown {
  if (/^\d{4}-\d\d-\d\dT/.test(text)) return Date.parse(text);
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}
