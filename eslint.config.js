import tseslint from 'typescript-eslint';

export default tseslint.config(
  { ignores: ['dist/', 'dist-package/', 'var/', '.tools/', '.cache/', 'coverage/', '*.cjs'] },
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/no-unnecessary-condition': [
        'error',
        { allowConstantLoopConditions: 'only-allowed-literals' },
      ],
      '@typescript-eslint/no-unused-vars': ['error', { ignoreUsingDeclarations: true }],
      // It takes a tenth of the time, and `erasableSyntaxOnly` forbids enums.
      '@typescript-eslint/no-unsafe-enum-assignment': 'off',
      'no-console': 'error',
      'no-restricted-exports': ['error', { restrictDefaultExports: { direct: true } }],
    },
  },
  { files: ['*.js'], ...tseslint.configs.disableTypeChecked },
  { files: ['scripts/**', 'src/cli/**', 'test/**', 'docs/**'], rules: { 'no-console': 'off' } },
  {
    files: ['src/**'],
    rules: {
      'no-restricted-syntax': [
        'error',
        {
          // A closer that fails there replaces the failure of the block.
          selector:
            'TryStatement > .finalizer :matches(AwaitExpression, CallExpression[callee.name=/^(closeSync|rmSync)$/], CallExpression[callee.property.name="close"][callee.object.type!="ThisExpression"])',
          message: 'Close with `using`, or with `await using` and closeAtEnd of src/base/closing.ts.',
        },
        {
          selector:
            'CatchClause > BlockStatement:has(> ThrowStatement) > ExpressionStatement > AwaitExpression > CallExpression:matches([callee.property.name=/^(close|stop|discard)$/], [callee.name="rm"])',
          message:
            'A failure of this step would hide the first one: use closeQuietly of src/base/closing.ts.',
        },
      ],
    },
  },
  {
    files: ['eslint.config.js', 'vitest.config.ts', 'scripts/check/reporter.ts', 'test/**/setup.ts'],
    rules: { 'no-restricted-exports': 'off' },
  },
  {
    files: ['test/**'],
    rules: {
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
    },
  },
  // Plain JavaScript for an old Node: without types there are no rules that need them.
  { files: ['**/*.mjs'], ...tseslint.configs.disableTypeChecked },
);
