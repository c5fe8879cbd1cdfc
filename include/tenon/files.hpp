#pragma once

// What reads and writes files; JSON inside.

#include <tenon/io/adapter_files.hpp>
#include <tenon/io/atomic_file.hpp>
#include <tenon/io/checkpoint.hpp>
#include <tenon/io/checkpoint_places.hpp>
#include <tenon/io/checksum.hpp>
#include <tenon/io/file.hpp>
#include <tenon/io/folder.hpp>
#include <tenon/io/generation_settings.hpp>
#include <tenon/io/gguf.hpp>
#include <tenon/io/json.hpp>
#include <tenon/io/mapped_file.hpp>
#include <tenon/io/parameters.hpp>
#include <tenon/io/read_configuration.hpp>
#include <tenon/io/safetensors.hpp>
#include <tenon/io/safetensors_write.hpp>
#include <tenon/io/save_checkpoint.hpp>
#include <tenon/io/token_file.hpp>
#include <tenon/training/checkpoints.hpp>
#include <tenon/training/curve.hpp>
#include <tenon/training/metrics.hpp>
#include <tenon/training/metrics_file.hpp>
#include <tenon/training/step_metrics.hpp>
