"""A visitor of the real page, the photos they bring, and a plug-in engine that takes its time."""
