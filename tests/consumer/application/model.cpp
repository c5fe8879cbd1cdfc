#include "model.hpp"

#include <tenon/tenon.hpp>

template class tenon::Transformer<Small>;
template class tenon::Generator<Model>;
