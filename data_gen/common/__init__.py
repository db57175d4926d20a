"""Tools that know no waves: errors, the console, files, the compilation cache, linear maps, commands."""
