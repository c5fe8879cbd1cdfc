#pragma once

#include "speaker.hpp"

/// The program: talks with a model of any supported architecture, a folder or a GGUF file, with the
/// tokenizer, chat template and settings that it comes with. `load` says on which device. Compiled once, in
/// speakers/chat.cpp, for it knows every tokenizer.
int chat(int count, char** values, SpeakerLoader& load);
