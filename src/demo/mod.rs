//! The development authorization server, the demo connectors, and the story they tell together.
