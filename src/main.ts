process.stdout.write('swellsight edge\n');
