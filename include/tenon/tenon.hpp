#pragma once

// The whole library on the host, but for what reads and writes files (`files.hpp`).

#include <tenon/autograd/gradient_check.hpp>
#include <tenon/autograd/parameter.hpp>
#include <tenon/autograd/recompute.hpp>
#include <tenon/expression/cpu.hpp>
#include <tenon/expression/reduction.hpp>
#include <tenon/expression/reduction_cpu.hpp>
#include <tenon/inference/cache.hpp>
#include <tenon/model/transformer.hpp>
#include <tenon/op/attention/cpu.hpp>
#include <tenon/op/cross_entropy/cpu.hpp>
#include <tenon/op/embedding/cpu.hpp>
#include <tenon/op/matmul/cpu.hpp>
#include <tenon/op/rms_norm/rms_norm.hpp>
#include <tenon/op/rotary/cpu.hpp>
#include <tenon/op/softmax/softmax.hpp>
#include <tenon/op/view/cpu.hpp>
#include <tenon/optim/cpu.hpp>
#include <tenon/optim/schedule.hpp>
