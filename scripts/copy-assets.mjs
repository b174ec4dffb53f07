// Files that the compiler leaves behind: SQL migrations.
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './setup.mjs';

cpSync(join(root, 'src/store/migrations'), join(root, 'dist/store/migrations'), { recursive: true });
