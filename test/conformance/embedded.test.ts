import { embedded } from './brokers.ts';
import { conformance } from './suite.ts';

conformance('embedded', embedded);
