import './agent.css';
import type { ComponentType } from 'preact';
import { addressOf, route } from '../../shared/route.ts';
import { agentText } from './agent-text.ts';
import { EventsPart } from './events-part.tsx';
import { HealthPart } from './health-part.tsx';
import { ModelPart } from './model-part.tsx';
import { SoftwarePart } from './software-part.tsx';

type PartName = keyof typeof agentText.parts;
/** In the order of the tabs. */
const PARTS: Readonly<Record<PartName, ComponentType>> = {
  health: HealthPart,
  model: ModelPart,
  software: SoftwarePart,
  events: EventsPart,
};
const NAMES = Object.keys(PARTS) as readonly PartName[];

/** The agent itself: its health, its model, its version, and what it reported. */
export function AgentView() {
  const shown = NAMES.find((name) => name === route.value.params.get('part')) ?? 'health';
  const Part = PARTS[shown];
  return (
    <div class="agent stack">
      <nav class="parts" aria-label={agentText.partsLabel}>
        {NAMES.map((name) => (
          <a
            key={name}
            href={addressOf('agent', { part: name })}
            aria-current={name === shown ? 'page' : undefined}
          >
            {agentText.parts[name]}
          </a>
        ))}
      </nav>
      <Part />
    </div>
  );
}
