#pragma once

// The whole tokenizer: every format, read and written. A program that needs one format compiles faster with
// the header of that one, such as `vocabulary_files.hpp`. Chat templates stand beside, in
// `chat_template.hpp`.

#include "tenon/tokenizer/pretokenize.hpp"
#include "tenon/tokenizer/read_tokenizer.hpp"
#include "tenon/tokenizer/stream.hpp"
#include "tenon/tokenizer/tokenizer.hpp"
#include "tenon/tokenizer/train.hpp"
#include "tenon/tokenizer/train_unigram.hpp"
#include "tenon/tokenizer/train_word_piece.hpp"
#include "tenon/tokenizer/unicode.hpp"
#include "tenon/tokenizer/write_tiktoken.hpp"
#include "tenon/tokenizer/write_tokenizer.hpp"
#include "tenon/tokenizer/write_vocabulary_files.hpp"
