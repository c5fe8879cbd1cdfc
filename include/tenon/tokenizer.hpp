#pragma once

#include "tenon/tokenizer/byte_pair_tokenizer.hpp"
#include "tenon/tokenizer/pretokenize.hpp"
#include "tenon/tokenizer/train.hpp"
#include "tenon/tokenizer/unicode.hpp"
