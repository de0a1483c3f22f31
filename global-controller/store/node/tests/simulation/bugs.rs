//! The simulation finds bugs: six things are broken on purpose, and each is caught by name within a few seeds.
